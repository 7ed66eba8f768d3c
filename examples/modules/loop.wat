;; Never ends: what deadlines and fuel are for.
(module
  (func (export "_start")
    (loop $again
      br $again)))
