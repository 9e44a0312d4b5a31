;; Loops as a guest's compiler leaves them: unrolled, or made of 128-bit vectors. Each works on $n
;; bytes at $from and $to, and has an operator of its own for each copy of each access. What they do
;; with a value that was loaded, no instruction of the processor does with one in memory: such an
;; instruction would trap in the name of the operator that computes.
(module
  (memory (export "memory") 1 1)

  (func (export "third4") (param $to i32) (param $from i32) (param $n i32)
    (loop $again
      (f64.store (local.get $to) (f64.div (f64.load (local.get $from)) (f64.const 3)))
      (f64.store (i32.add (local.get $to) (i32.const 8))
        (f64.div (f64.load (i32.add (local.get $from) (i32.const 8))) (f64.const 3)))
      (f64.store (i32.add (local.get $to) (i32.const 16))
        (f64.div (f64.load (i32.add (local.get $from) (i32.const 16))) (f64.const 3)))
      (f64.store (i32.add (local.get $to) (i32.const 24))
        (f64.div (f64.load (i32.add (local.get $from) (i32.const 24))) (f64.const 3)))
      (local.set $to (i32.add (local.get $to) (i32.const 32)))
      (local.set $from (i32.add (local.get $from) (i32.const 32)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 32))))))

  ;; What one copy has loaded, the next uses.
  (func (export "smooth2") (param $to i32) (param $from i32) (param $n i32) (local $last i32)
    (loop $again
      (i32.store (local.get $to)
        (i32.add (local.get $last) (local.tee $last (i32.load (local.get $from)))))
      (i32.store (i32.add (local.get $to) (i32.const 4))
        (i32.add (local.get $last)
          (local.tee $last (i32.load (i32.add (local.get $from) (i32.const 4))))))
      (local.set $to (i32.add (local.get $to) (i32.const 8)))
      (local.set $from (i32.add (local.get $from) (i32.const 8)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 8))))))

  ;; From the end to the beginning.
  (func (export "eighth2") (param $to i32) (param $from i32) (param $n i32)
    (loop $again
      (local.set $n (i32.sub (local.get $n) (i32.const 8)))
      (i32.store (i32.add (i32.add (local.get $to) (local.get $n)) (i32.const 4))
        (i32.shr_u
          (i32.load (i32.add (i32.add (local.get $from) (local.get $n)) (i32.const 4)))
          (i32.const 3)))
      (i32.store (i32.add (local.get $to) (local.get $n))
        (i32.shr_u (i32.load (i32.add (local.get $from) (local.get $n))) (i32.const 3)))
      (br_if $again (local.get $n))))

  (func (export "sum4") (param $to i32) (param $from i32) (param $n i32) (local $sum i32)
    (loop $again
      (local.set $sum
        (i32.add (i32.shr_u (i32.load (local.get $from)) (i32.const 3)) (local.get $sum)))
      (local.set $sum
        (i32.add
          (i32.shr_u (i32.load (i32.add (local.get $from) (i32.const 4))) (i32.const 3))
          (local.get $sum)))
      (local.set $sum
        (i32.add
          (i32.shr_u (i32.load (i32.add (local.get $from) (i32.const 8))) (i32.const 3))
          (local.get $sum)))
      (local.set $sum
        (i32.add
          (i32.shr_u (i32.load (i32.add (local.get $from) (i32.const 12))) (i32.const 3))
          (local.get $sum)))
      (local.set $from (i32.add (local.get $from) (i32.const 16)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 16)))))
    (i32.store (local.get $to) (local.get $sum)))

  (func (export "third_vectors") (param $to i32) (param $from i32) (param $n i32)
    (loop $again
      (v128.store (local.get $to)
        (f64x2.div (v128.load (local.get $from)) (v128.const f64x2 3 3)))
      (local.set $to (i32.add (local.get $to) (i32.const 16)))
      (local.set $from (i32.add (local.get $from) (i32.const 16)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 16))))))

  ;; Each vector begins with the last lane of the one before.
  (func (export "shift_vectors") (param $to i32) (param $from i32) (param $n i32)
    (local $last v128) (local $this v128)
    (loop $again
      (v128.store (local.get $to)
        (i8x16.shuffle 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27
          (local.get $last) (local.tee $this (v128.load (local.get $from)))))
      (local.set $last (local.get $this))
      (local.set $to (i32.add (local.get $to) (i32.const 16)))
      (local.set $from (i32.add (local.get $from) (i32.const 16)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 16))))))
)
