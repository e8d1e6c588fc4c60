target "second" {}
