;; What consumer.wat imports.
(module
  (memory (export "memory") 1)
  (global $total (export "total") (mut i32) (i32.const 100))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))
