target "default" {
 args={A=1}
 tags=["a"]
}
target "default" {
 args={B=2}
 tags=["b"]
}
