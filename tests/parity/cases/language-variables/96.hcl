variable {
}
target "default" {}
