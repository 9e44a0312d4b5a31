# test.sh PROGRAM [ARGUMENT…]: what the program must print. Works natively and as `atoll run FILE`.
set -eu
[ "$(printf 'a\nb\n' | "$@")" = "     1  a
     2  b" ]
[ "$(printf 'no end' | "$@")" = "     1  no end" ]
[ -z "$(printf '' | "$@")" ]
echo ok
