V = "1"
V = "2"
target "default" {}
