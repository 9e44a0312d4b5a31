;; Tables that begin with 40,000 entries together, one of which may grow.
(module
  (table $fixed 30000 30000 funcref)
  (table $grows 10000 funcref)
  (func (export "grow") (param i32) (result i32)
    (table.grow $grows (ref.null func) (local.get 0)))
  (func (export "size") (result i32) (table.size $grows)))
