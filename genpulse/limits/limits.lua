-- The limiter's commands on one account; the twin of memory.py, step by step.
-- A call is one atomic step by this server's clock. All times are whole microseconds.

local bucket, places, turns, ranks, line = unpack(KEYS)
local job = ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function number(index) return tonumber(ARGV[index]) end
local function at(name) return tonumber(redis.call('HGET', bucket, name)) or 0 end

local function forget_turn(one)
  redis.call('ZREM', turns, one)
  redis.call('ZREM', ranks, one)
end

local function forget(lease)
  redis.call('ZREMRANGEBYSCORE', places, '-inf', now)
  redis.call('ZREMRANGEBYSCORE', line, '-inf', now - lease)
  for _, one in ipairs(redis.call('ZRANGEBYSCORE', turns, '-inf', now - lease)) do forget_turn(one) end
end

-- How many tokens are spoken for: for a newcomer all, for others those of who goes first and is not late.
local function ahead(rank, grace)
  if not rank then return redis.call('ZCOUNT', turns, now - grace, '+inf') end
  local count = 0
  for _, one in ipairs(redis.call('ZRANGEBYSCORE', ranks, '-inf', '(' .. rank)) do
    if tonumber(redis.call('ZSCORE', turns, one)) >= now then count = count + 1 end
  end
  return count
end

local function has_place(concurrency, rank, grace)
  if concurrency == 0 or redis.call('ZSCORE', places, job) then return true end
  local newcomer = not rank and not redis.call('ZSCORE', line, job)
  local before = newcomer and redis.call('ZCOUNT', line, now - grace, '+inf') or 0
  return concurrency - redis.call('ZCARD', places) > before
end

local commands = {}

function commands.acquire()
  local lease, grace, recheck = number(3), number(4), number(5)
  local interval, burst, concurrency = number(6), number(7), number(8)
  forget(lease)
  local start = math.max(now, at('open_at'))
  local rank = redis.call('ZSCORE', ranks, job)
  if rank then
    local promised = tonumber(redis.call('ZSCORE', turns, job))
    if promised > start then return promised - now end
  end
  if not has_place(concurrency, rank, grace) then
    forget_turn(job)
    redis.call('ZADD', line, now, job) -- counts itself
    local waiting = redis.call('ZCOUNT', line, now - grace, '+inf')
    local again = math.max(start, now + math.floor(recheck * math.max(concurrency, waiting) / concurrency))
    redis.call('ZADD', line, again, job)
    return again - now
  end
  local due = start
  if interval > 0 then
    due = math.max(start, math.max(start, at('full_at')) + (ahead(rank, grace) + 1 - burst) * interval)
  end
  redis.call('ZREM', line, job)
  if due > now then
    redis.call('ZADD', turns, due, job)
    redis.call('ZADD', ranks, 'NX', due, job)
    return due - now
  end
  redis.call('HSET', bucket, 'full_at', math.max(now, at('full_at')) + interval)
  redis.call('ZADD', places, now + lease, job)
  forget_turn(job)
  return 0
end

function commands.release()
  for _, key in ipairs({places, turns, ranks, line}) do redis.call('ZREM', key, job) end
end

function commands.keep()
  redis.call('ZADD', places, now + number(3), job)
end

function commands.pause()
  redis.call('HSET', bucket, 'open_at', math.max(at('open_at'), now + number(2)))
end

function commands.state()
  return {at('full_at') - now, redis.call('ZCOUNT', places, now + 1, '+inf'), at('open_at') - now}
end

return commands[ARGV[1]]()
