target "default" {
 dockerfile = "x"
 context = target.default.dockerfile
}
