;; A gigabyte of initial memory, almost all of it zero.
(module
  (memory (export "memory") 16384)
  (data (i32.const 64) "low")
  (data (i32.const 1073741820) "high")
  (func (export "f")))
