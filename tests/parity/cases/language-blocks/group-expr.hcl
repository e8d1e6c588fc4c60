group "default" { targets=[for x in ["a","b"] : x] }
target "a" {}
target "b" {}
