A = "1"
A = "2"
target "a" {}
