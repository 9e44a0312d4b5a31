;; Work whose cost is to be counted, and operators that make NaNs.
(module
  (memory 1)

  ;; Operators: local.get, if; i32.const, local.get, i32.add, and the else or the end that follows;
  ;; or i32.const and that end; then the function's end.
  (func (export "branch") (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (i32.const 1) (local.get 0)))
      (else (i32.const 9))))

  (func $step (param i32) (result i32)
    (if (result i32) (i32.and (local.get 0) (i32.const 1))
      (then (i32.add (i32.mul (local.get 0) (i32.const 3)) (i32.const 1)))
      (else (i32.shr_u (local.get 0) (i32.const 1)))))
  ;; Steps of the Collatz sequence, each noted in memory.
  (func (export "collatz") (param i32) (result i32) (local $steps i32)
    (block $done
      (loop $again
        (br_if $done (i32.eq (local.get 0) (i32.const 1)))
        (local.set 0 (call $step (local.get 0)))
        (i32.store (i32.shl (local.get $steps) (i32.const 2)) (local.get 0))
        (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
        (block $zero (block $one
          (br_table $zero $one $again (i32.and (local.get 0) (i32.const 3))))
          (br $again))
        (br $again)))
    (local.get $steps))

  (func (export "f32_add") (param f32 f32) (result f32) (f32.add (local.get 0) (local.get 1)))
  (func (export "f32_sub") (param f32 f32) (result f32) (f32.sub (local.get 0) (local.get 1)))
  (func (export "f32_mul") (param f32 f32) (result f32) (f32.mul (local.get 0) (local.get 1)))
  (func (export "f32_div") (param f32 f32) (result f32) (f32.div (local.get 0) (local.get 1)))
  (func (export "f32_min") (param f32 f32) (result f32) (f32.min (local.get 0) (local.get 1)))
  (func (export "f32_max") (param f32 f32) (result f32) (f32.max (local.get 0) (local.get 1)))
  (func (export "f32_sqrt") (param f32 f32) (result f32) (f32.sqrt (local.get 0)))
  (func (export "f32_ceil") (param f32 f32) (result f32) (f32.ceil (local.get 0)))
  (func (export "f32_nearest") (param f32 f32) (result f32) (f32.nearest (local.get 0)))
  (func (export "f32_demote") (param f32 f32) (result f32)
    (f32.demote_f64 (f64.promote_f32 (local.get 0))))
  (func (export "f32_one") (param f32 f32) (result f32)
    (f32.mul (local.get 0) (f32.const 1)))
  (func (export "f32_lanes") (param f32 f32) (result f32)
    (f32x4.extract_lane 3
      (f32x4.mul (f32x4.splat (local.get 0)) (f32x4.splat (local.get 1)))))
  (func (export "f32_lanes_min") (param f32 f32) (result f32)
    (f32x4.extract_lane 2
      (f32x4.min (f32x4.splat (local.get 0)) (f32x4.splat (local.get 1))))))
