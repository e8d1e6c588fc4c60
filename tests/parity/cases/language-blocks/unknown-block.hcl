foo "x" { y = NOPE }
target "default" {}
