target "abc" {}
