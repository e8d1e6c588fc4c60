target "default" {
  platforms = ["a/b/c/d"]
}
