-- Take one of a tenant's requests; the twin of MemoryRequests in requests.py, step by step.
-- One atomic step by this server's clock. All times are whole microseconds.

local interval, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full_at = math.max(tonumber(redis.call('GET', KEYS[1])) or 0, now)

local late = full_at + interval - now - window
if late > 0 then return {full_at - now, late} end
full_at = full_at + interval
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
return {full_at - now, 0}
