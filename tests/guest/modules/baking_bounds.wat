;; Baking stops at the first segment that would trap.
(module
  (memory 1 2)
  (data (i32.const 65530) "inside")
  (data (i32.const 65531) "beyond")
  (data (i32.const 0) "after")
  (func $f (export "f")))
