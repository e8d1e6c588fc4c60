target "foo-a" {}
