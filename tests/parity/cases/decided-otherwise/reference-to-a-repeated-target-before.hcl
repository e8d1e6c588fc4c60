target "default" { args = { d = jsonencode(target.b.dockerfile), t = target.b.tags[0] } }
target "b" { dockerfile = "D" }
target "b" { tags = ["2"] }
