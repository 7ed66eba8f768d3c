;; Asks for memory: grow(pages) answers the size before, in pages of 64 KiB.
(module
  (memory (export "memory") 1)
  (func (export "grow") (param i32) (result i32)
    local.get 0
    memory.grow))
