target "a" { tags = ["x"] }
target "default" { args = { v = jsonencode(target) } }
