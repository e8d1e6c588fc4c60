target "first" {}
