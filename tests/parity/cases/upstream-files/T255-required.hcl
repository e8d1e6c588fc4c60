group "g" {}
target "default" {}
