target "app" {
 matrix={a=[1,2]}
 name="x${a}"
 dockerfile="D${a}"
 tags=[target.x1.dockerfile]
}
