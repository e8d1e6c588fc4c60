group "g" { targets=null }
target "default" {}
