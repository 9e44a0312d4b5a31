;; Baking stops at the first segment that depends on an import.
(module
  (import "test" "base" (global $base i32))
  (table 10 funcref)
  (memory 1)
  (global $known i32 (i32.const 5))
  (global $unknown i32 (global.get $base))
  (elem (i32.const 1) func $f)
  (elem (global.get $base) func $f)
  (elem (i32.const 3) func $f)
  (data (i32.const 0) "late")
  (func $f))
