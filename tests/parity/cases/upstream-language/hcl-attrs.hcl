A = "a"
B = "b-${A}"
target "default" { args = { b: B } }
