function "f" {
 params=[x]
 result="f${x}"
}
target "app" {
 matrix={a=[1,2]}
 name=f(a)
 tags=[f(a)]
}
