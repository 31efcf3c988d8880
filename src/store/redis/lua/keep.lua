-- KEYS: any. ARGV: seconds kept.
for i = 1, #KEYS do
    redis.call('EXPIRE', KEYS[i], ARGV[1])
end
return 1
