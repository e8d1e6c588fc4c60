target "app" {
 name = "a1"
 matrix={}
}
target "app" {
 dockerfile="x"
}
