;; A WASI program: writes its second argument and exits with its length.
(module
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func $length (param $text i32) (result i32) (local $at i32)
    (local.set $at (local.get $text))
    (block $end
      (loop $next
        (br_if $end (i32.eqz (i32.load8_u (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (i32.sub (local.get $at) (local.get $text)))
  (func $say (export "say") (local $text i32)
    (drop (call $args_get (i32.const 16) (i32.const 64)))
    (local.set $text (i32.load (i32.const 20)))
    (i32.store (i32.const 0) (local.get $text))
    (i32.store (i32.const 4) (call $length (local.get $text)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    (call $say)
    (call $proc_exit (i32.load (i32.const 8)))))
