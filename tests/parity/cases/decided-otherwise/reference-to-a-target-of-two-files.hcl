target "b" { dockerfile = "D" }
target "default" { args = { d = jsonencode(target.b.dockerfile) } }
