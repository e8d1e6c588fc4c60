target "default" {
  context = "git@github.com:a/b.git"
}
