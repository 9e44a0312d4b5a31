;; Long computations whose whole state must survive being stopped at any instruction. Each takes a
;; number of steps and returns a checksum.
(module
  (import "test" "add" (func $add (param i32 i32) (result i32)))
  (memory 1)

  ;; Integer registers and memory.
  (func (export "scalar") (param i32) (result i64) (local $sum i64) (local $i i32) (local $at i32)
    (loop $next
      (local.set $at (i32.and (i32.mul (local.get $i) (i32.const 2654435761)) (i32.const 65528)))
      (i64.store (local.get $at)
        (i64.add (i64.load (local.get $at)) (i64.extend_i32_u (local.get $i))))
      (local.set $sum
        (i64.xor (i64.rotl (local.get $sum) (i64.const 7)) (i64.load (local.get $at))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get 0))))
    (local.get $sum))

  ;; Vector registers, all the time.
  (func (export "vector") (param i32) (result i64)
    (local $a v128) (local $b v128) (local $c v128) (local $i i32)
    (local.set $a (v128.const i32x4 1 2 3 4))
    (local.set $b (v128.const i32x4 5 7 11 13))
    (local.set $c (v128.const f64x2 1.5 2.5))
    (loop $next
      (local.set $a (i32x4.add (i32x4.mul (local.get $a) (local.get $b))
                               (i32x4.splat (local.get $i))))
      (local.set $b (v128.xor (local.get $b) (i8x16.swizzle (local.get $a) (local.get $b))))
      (local.set $c (f64x2.div (f64x2.add (local.get $c) (f64x2.splat (f64.const 3)))
                               (f64x2.splat (f64.const 1.25))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get 0))))
    (i64.xor
      (i64.xor (i64x2.extract_lane 0 (local.get $a)) (i64x2.extract_lane 1 (local.get $b)))
      (i64.reinterpret_f64 (f64x2.extract_lane 0 (local.get $c)))))

  ;; A deep native stack.
  (func $descend (param $depth i32) (param $seed i64) (result i64)
    (if (result i64) (i32.eqz (local.get $depth))
      (then (local.get $seed))
      (else
        (i64.add
          (i64.rotl
            (call $descend (i32.sub (local.get $depth) (i32.const 1))
              (i64.mul (local.get $seed) (i64.const 6364136223846793005)))
            (i64.const 3))
          (i64.extend_i32_u (local.get $depth))))))
  (func (export "recursive") (param i32) (result i64) (local $sum i64) (local $i i32)
    (loop $next
      (local.set $sum
        (i64.add (local.get $sum)
          (call $descend (i32.const 5000) (i64.extend_i32_u (local.get $i)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get 0))))
    (local.get $sum))

  ;; Mostly in host calls.
  (func (export "calling") (param i32) (result i64) (local $sum i32) (local $i i32)
    (loop $next
      (local.set $sum
        (call $add (i32.rotl (local.get $sum) (i32.const 1)) (local.get $i)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get 0))))
    (i64.extend_i32_u (local.get $sum)))

  ;; Memory that grows under way, every page of it written.
  (func (export "growing") (param i32) (result i64) (local $sum i64) (local $i i32) (local $at i32)
    (loop $next
      (if (i32.eqz (i32.rem_u (local.get $i) (i32.const 20000)))
        (then (drop (memory.grow (i32.const 1)))))
      (local.set $at
        (i32.rem_u (i32.mul (local.get $i) (i32.const 2654435761))
          (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 8))))
      (i64.store (local.get $at)
        (i64.add (i64.load (local.get $at)) (i64.extend_i32_u (local.get $i))))
      (local.set $sum
        (i64.add (i64.rotl (local.get $sum) (i64.const 5)) (i64.load (local.get $at))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get 0))))
    (local.get $sum))

  ;; Loops that the compiler writes again: one unrolled, one over 16-byte vectors.
  (func (export "rewritten") (param i32) (result i64)
    (local $i i32) (local $at i32) (local $sum i64) (local $key v128)
    (loop $next
      (local.set $at (i32.const 0))
      (loop $unrolled
        (i32.store (i32.add (local.get $at) (i32.const 32768))
          (i32.add (i32.mul (i32.load (local.get $at)) (i32.const 5)) (local.get $i)))
        (i32.store (i32.add (local.get $at) (i32.const 32772))
          (i32.add (i32.mul (i32.load (i32.add (local.get $at) (i32.const 4))) (i32.const 5))
            (local.get $i)))
        (br_if $unrolled
          (i32.ne (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 32768))))
      (local.set $at (i32.const 0))
      (local.set $key (i32x4.splat (i32.mul (local.get $i) (i32.const 2654435761))))
      (loop $vectors
        (v128.store (local.get $at)
          (v128.xor (v128.load (i32.add (local.get $at) (i32.const 32768))) (local.get $key)))
        (br_if $vectors
          (i32.ne (local.tee $at (i32.add (local.get $at) (i32.const 16))) (i32.const 32768))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get 0))))
    (loop $add
      (local.set $at (i32.sub (local.get $at) (i32.const 8)))
      (local.set $sum
        (i64.add (i64.rotl (local.get $sum) (i64.const 9)) (i64.load (local.get $at))))
      (br_if $add (local.get $at)))
    (local.get $sum))

  ;; Loops that the compiler turns into 32-byte vectors.
  (func (export "vectorised") (param i32) (result i64)
    (local $i i32) (local $at i32) (local $sum f64)
    (loop $fill
      (f64.store (local.get $at) (f64.convert_i32_u (local.get $at)))
      (f64.store offset=32768 (local.get $at) (f64.const 1))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $fill (i32.lt_u (local.get $at) (i32.const 32768))))
    (loop $next
      (local.set $at (i32.const 0))
      (loop $inner
        (f64.store offset=32768 (local.get $at)
          (f64.add
            (f64.mul (f64.load offset=32768 (local.get $at)) (f64.const 0.5))
            (f64.load (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $inner (i32.lt_u (local.get $at) (i32.const 32768))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get 0))))
    (local.set $at (i32.const 0))
    (loop $total
      (local.set $sum (f64.add (local.get $sum) (f64.load offset=32768 (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $total (i32.lt_u (local.get $at) (i32.const 32768))))
    (i64.reinterpret_f64 (local.get $sum))))
