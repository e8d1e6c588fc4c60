group "g" {
 targets=["x"]
 name="q"
}
target "x" {}
