target "one" { dockerfile = "D" }
a = target.one.dockerfile
b = a
target "two" { dockerfile = b }
