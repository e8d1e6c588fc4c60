target "default" {
 args = { a = jsonencode(target.default) }
}
