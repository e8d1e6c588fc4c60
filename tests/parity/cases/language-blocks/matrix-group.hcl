group "g" {
 targets=["x"]
 matrix={}
}
target "x" {}
