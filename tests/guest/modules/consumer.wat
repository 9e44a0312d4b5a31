;; Imports memory, a function and a variable of provider.wat, and a function of the host.
(module
  (import "provider" "memory" (memory 1))
  (import "provider" "add" (func $add (param i32 i32) (result i32)))
  (import "provider" "total" (global $total (mut i32)))
  (import "host" "twice" (func $twice (param i32) (result i32)))
  (func (export "work") (param i32) (result i32)
    (i32.store (i32.const 64) (local.get 0))
    (global.set $total (call $add (global.get $total) (call $twice (local.get 0))))
    (global.get $total)))
