target "a_c" {}
