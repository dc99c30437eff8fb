#!/bin/sh
# Makes the secrets that compose.yaml reads, once, in the folder `secrets` beside it (or in the one that is named).
# Its owner alone may enter the folder. The files in it are open to all users, because each container has its own.
set -eu
folder=${1:-$(dirname "$0")/../../secrets}
if [ -e "$folder" ]; then
    echo "secrets.sh: $folder exists: nothing was changed" >&2
    exit 1
fi
umask 077
made=$folder.new
rm -rf "$made"
mkdir -p "$made"
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
put() { printf '%s\n' "$2" >"$made/$1"; }

redis=$(random)
jobs=$(random)
postgres=$(random)
put redis_conf "requirepass $redis"
put jobs_redis_conf "requirepass $jobs"
put postgres_password "$postgres"
put redis_url "redis://:$redis@redis:6379/0"
put jobs_redis_url "redis://:$jobs@jobs-redis:6379/0"
put database_url "postgresql://budget:$postgres@postgres:5432/budget"
put secret_key "$(random)"
put admin_password "$(random)"
put metrics_token "$(random)"
chmod 0444 "$made"/*
mv "$made" "$folder"
echo "the page's password is in $folder/admin_password"
