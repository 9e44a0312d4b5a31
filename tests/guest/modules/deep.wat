;; A trap below named functions.
(module
  (memory 1)
  (func $innermost (param i32) (result i32)
    (if (result i32) (i32.gt_s (local.get 0) (i32.const 1000))
      (then (call $innermost (i32.sub (local.get 0) (i32.const 1))))
      (else (i32.load offset=65536 (local.get 0)))))
  (func $middle (param i32) (result i32)
    (i32.add (call $innermost (local.get 0)) (i32.const 1)))
  (func $outermost (export "fail") (param i32) (result i32)
    (i32.mul (call $middle (local.get 0)) (i32.const 3))))
