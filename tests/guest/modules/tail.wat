;; Counts down by tail calls, deeper than any stack.
(module
  (func $down (export "down") (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0))
      (then (i32.const 7))
      (else (return_call $down (i32.sub (local.get 0) (i32.const 1)))))))
