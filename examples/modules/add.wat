;; The smallest useful module: add(i32, i32) -> i32, and the same for the other number types.
(module
  (func (export "add") (param i32 i32) (result i32)
    local.get 0
    local.get 1
    i32.add)
  (func (export "add64") (param i64 i64) (result i64)
    local.get 0
    local.get 1
    i64.add)
  (func (export "mean") (param f64 f64) (result f64)
    local.get 0
    local.get 1
    f64.add
    f64.const 0.5
    f64.mul)
  (func (export "half") (param f32) (result f32)
    local.get 0
    f32.const 0.5
    f32.mul)
  ;; two results are printed on two lines
  (func (export "divmod") (param i32 i32) (result i32 i32)
    local.get 0
    local.get 1
    i32.div_s
    local.get 0
    local.get 1
    i32.rem_s))
