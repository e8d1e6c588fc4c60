target "one" {}
