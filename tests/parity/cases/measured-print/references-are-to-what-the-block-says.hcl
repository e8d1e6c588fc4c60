target "above" { dockerfile = "D" }
target "b" { inherits = ["above"] }
target "default" { args = { v = jsonencode(target.b.dockerfile), w = jsonencode(target.b.inherits) } }
