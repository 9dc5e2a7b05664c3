-- The limiter's commands on one account; the twin of memory.py, step by step.
-- A call is one atomic step by this server's clock. All times are whole microseconds.

local bucket, places, jobs, tags, costs, looks = unpack(KEYS)
-- Who waits is in two sorted sets, by time and by name; a name is tenant, rank and job, a line each. What is counted is
-- found in the one by its ends, in the other by its tenant, so that nobody has to walk through all.
local turns, line = {at = KEYS[7], who = KEYS[8]}, {at = KEYS[9], who = KEYS[10]}
-- By so many little steps tenants begin apart; the shortest turn is of a thousand.
local APART = 100
local job = ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function number(index) return tonumber(ARGV[index]) end
local function value(name) return tonumber(redis.call('HGET', bucket, name)) or 0 end
local function whole(n) return string.format('%.0f', n) end
local function tag(tenant) return tonumber(redis.call('ZSCORE', tags, tenant)) or 0 end

-- Within its tenant: the priority, then who asked earlier.
local function ranked(order, asked) return order * 1e15 + asked end
local function named(tenant, rank) return tenant .. '\n' .. string.format('%016.0f', rank) .. '\n' .. job end
local function parse(name)
  local tenant, rank, whose = string.match(name, '^([^\n]*)\n(%d+)\n(.*)$')
  return tenant, tonumber(rank), whose
end

local function leave(one)
  local name = redis.call('HGET', jobs, one)
  if not name then return end
  for _, queue in ipairs({turns, line}) do
    redis.call('ZREM', queue.at, name)
    redis.call('ZREM', queue.who, name)
  end
  redis.call('HDEL', jobs, one)
end

local function join(queue, name, at)
  leave(job)
  redis.call('HINCRBY', bucket, 'asked', 1)
  redis.call('ZADD', queue.at, at, name)
  redis.call('ZADD', queue.who, 0, name)
  redis.call('HSET', jobs, job, name)
end

local function forget(lease)
  redis.call('ZREMRANGEBYSCORE', places, '-inf', now)
  for _, queue in ipairs({turns, line}) do
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', queue.at, '-inf', now - lease)) do
      leave((select(3, parse(name))))
    end
  end
  if redis.call('EXISTS', jobs) == 0 then
    redis.call('ZREMRANGEBYSCORE', tags, '-inf', value('virtual'))
    redis.call('DEL', costs, looks)
  end
end

-- How many of the tenant go before that rank, and how many of each other wait. Who is late by then is left out.
local function expected(queue, own, rank, since)
  local late, index, others = {}, 0, {}
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', queue.at, '-inf', '(' .. whole(since))) do
    local tenant, its = parse(name)
    if tenant ~= own or its < rank then late[tenant] = (late[tenant] or 0) + 1 end
  end
  local from = '-'
  while true do
    local first = redis.call('ZRANGEBYLEX', queue.who, from, '+', 'LIMIT', 0, 1)[1]
    if not first then return index, others end
    local tenant = parse(first)
    local past = '(' .. tenant .. '\n~' -- no digit
    local upto = tenant == own and '(' .. own .. '\n' .. string.format('%016.0f', rank) or past
    local count = redis.call('ZLEXCOUNT', queue.who, '[' .. tenant .. '\n', upto) - (late[tenant] or 0)
    if tenant == own then index = count elseif count > 0 then others[tenant] = count end
    from = past
  end
end

-- The same of those who come until then, whom it is shorter to count one by one.
local function soon(queue, own, rank, since, till)
  local index, others = 0, {}
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', queue.at, since, till)) do
    local tenant, its = parse(name)
    if tenant ~= own then others[tenant] = (others[tenant] or 0) + 1 elseif its < rank then index = index + 1 end
  end
  return index, others
end

local function waits(queue, own, since)
  local count = redis.call('ZLEXCOUNT', queue.who, '[' .. own .. '\n', '(' .. own .. '\n~')
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', queue.at, '-inf', '(' .. whole(since))) do
    if parse(name) == own then count = count - 1 end
  end
  return count > 0
end

-- A tenant of which nobody waits begins where the others are: it has saved up nothing while it was away.
local function enter(tenant, cost, grace)
  redis.call('HSET', costs, tenant, cost)
  local virtual = value('virtual')
  if redis.call('ZSCORE', tags, tenant) and tag(tenant) >= virtual + APART then return end
  if waits(turns, tenant, now - grace) or waits(line, tenant, now - grace) then return end
  -- In the order in which they come, and not as equals.
  local begin = virtual + redis.call('HINCRBY', bucket, 'asked', 1) % APART
  redis.call('ZADD', tags, math.max(tag(tenant), begin), tenant)
end

-- How many go before the tenant's next but `index`: those, and of each other tenant all with a smaller tag.
local function ahead(own, cost, index, others)
  local mine, count = tag(own) + index * cost, index
  for tenant, waiting in pairs(others) do
    local smaller = math.ceil((mine - tag(tenant)) / redis.call('HGET', costs, tenant))
    count = count + math.max(0, math.min(waiting, smaller))
  end
  return count
end

local commands = {}

function commands.acquire()
  local lease, grace, recheck = number(3), number(4), number(5)
  local interval, burst, concurrency = number(6), number(7), number(8)
  local tenant, order, cost = ARGV[9], number(10), number(11)
  forget(lease)
  enter(tenant, cost, grace)

  local start = math.max(now, value('open_at'))
  local name = redis.call('HGET', jobs, job)
  local promised = name and tonumber(redis.call('ZSCORE', turns.at, name))
  local looks_at = name and tonumber(redis.call('ZSCORE', line.at, name))
  local last = ranked(order, value('asked'))
  -- Who should have come before this is late: newcomers wait for them a while, others only for who is later.
  local since = math.max(math.min(promised or looks_at or 0, now), now - grace)

  -- Whether more are free than are left to those who go before: for a newcomer all, for others who looks next.
  local function has_place()
    if concurrency == 0 or redis.call('ZSCORE', places, job) then return true end
    local free = concurrency - redis.call('ZCARD', places)
    if free <= 0 then return false end
    if not name then
      local index, others = expected(line, tenant, last, since)
      return free > ahead(tenant, cost, index, others)
    end
    local till = now + math.floor(recheck / concurrency)
    local index, others = soon(line, tenant, ranked(order, 0), since, till) -- of equals any may have it
    return free > ahead(tenant, cost, index, others)
  end

  -- Have it look for a place after the others of its tenant, which has its share of all looks.
  local function look_later()
    if looks_at and looks_at > start then return looks_at - now end
    leave(job)
    local own, others = expected(line, tenant, last, now - grace)
    local gap, latest = recheck, tenant .. '\n' .. order
    for other, waiting in pairs(others) do
      gap = gap + math.min(waiting * recheck, math.floor(recheck * cost / redis.call('HGET', costs, other)))
    end
    gap = math.floor(gap / concurrency)
    local after = math.min(tonumber(redis.call('HGET', looks, latest)) or 0, now + own * gap)
    local at = math.max(now + recheck, after + gap)
    redis.call('HSET', looks, latest, at)
    at = math.max(at, start)
    join(line, named(tenant, last), at)
    return at - now
  end

  if promised and promised > start then return promised - now end
  if not has_place() then return look_later() end
  -- When there will be a token for one with so many ahead.
  local function due_behind(index, others)
    if interval == 0 then return start end
    local before = ahead(tenant, cost, index, others)
    return math.max(start, math.max(start, value('full_at')) + (before + 1 - burst) * interval)
  end

  local rank = promised and select(2, parse(name)) or last
  local due = start
  if promised then due = due_behind(soon(turns, tenant, rank, since, now)) end -- who comes later has a token of its own
  if interval > 0 and (due > now or not promised) then
    local index, others = expected(turns, tenant, rank, promised and since or now - grace)
    due = due_behind(index, others)
    if due > now then join(turns, named(tenant, rank), due) end
  end
  if due > now then return due - now end
  redis.call('HSET', bucket, 'full_at', math.max(now, value('full_at')) + interval)
  redis.call('ZADD', places, now + lease, job)
  leave(job)
  redis.call('HSET', bucket, 'virtual', math.max(value('virtual'), tag(tenant)))
  redis.call('ZINCRBY', tags, cost, tenant)
  return 0
end

function commands.release()
  redis.call('ZREM', places, job)
  leave(job)
end

function commands.keep()
  return 1 - redis.call('ZADD', places, now + number(3), job)
end

function commands.pause()
  redis.call('HSET', bucket, 'open_at', math.max(value('open_at'), now + number(2)))
end

function commands.state()
  return {value('full_at') - now, redis.call('ZCOUNT', places, now + 1, '+inf'), value('open_at') - now}
end

return commands[ARGV[1]]()
