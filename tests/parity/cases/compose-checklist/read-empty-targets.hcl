target "app1" {}
