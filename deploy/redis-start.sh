#!/bin/sh
# Starts Redis with its users. Their rights are those of docs/operations/servers.md; their passwords come from the environment and go to
# standard input, since other users of the machine see arguments. `default` is for people; no program has its password.
set -eu
of="~bsft:$BSFT_NAMESPACE:v1:{*}"
exec redis-server /usr/local/etc/redis/redis.conf - <<END
user default reset on >$REDISCLI_AUTH ~* &* +@all
user coordinator reset on >$REDIS_COORDINATOR_PASSWORD ~bsft:$BSFT_NAMESPACE:* +del +eval +evalsha +expire +get +hdel +hexists +hget +hgetall +hkeys +hmget +hset +hsetnx +info +pttl +sadd +set +sismember +srem +time +xdel +xrange +scan
user worker reset on >$REDIS_WORKER_PASSWORD %R$of:job %R$of:cancelled %R$of:file:* $of:task:* $of:done:* $of:outcomes $of:position $of:workers ~bsft:$BSFT_NAMESPACE:v1:{account:* +eval +evalsha +expire +get +hdel +hgetall +hmget +hset +info +set +sismember +time +ttl +xadd
END
