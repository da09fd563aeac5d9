BEGIN TRANSACTION;
CREATE TABLE alias (
	model VARCHAR(64) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	number INTEGER NOT NULL, 
	promotion INTEGER NOT NULL, 
	PRIMARY KEY (model, name), 
	FOREIGN KEY(model, number) REFERENCES version (model, number), 
	FOREIGN KEY(model) REFERENCES model (name), 
	FOREIGN KEY(promotion) REFERENCES promotion (id)
);
INSERT INTO "alias" VALUES('delays','production',2,2);
CREATE TABLE audit (
	id INTEGER NOT NULL, 
	at VARCHAR(27) NOT NULL, 
	actor TEXT NOT NULL, 
	action VARCHAR(64) NOT NULL, 
	subject TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	previous VARCHAR(71) NOT NULL, 
	digest VARCHAR(71) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "audit" VALUES(1,'2013-03-03T09:01:00.000000Z','anna','register','delays/1','{"content":"sha256:7b7e245f2ec3601c6c593eb3aa9134895d29790f6099249cdb0c170f5b5013c6","record":"sha256:95412cbb001de0d95809042227f81eb30c3060437aaee3a96a9735f850d85739","run":"r1"}','sha256:0000000000000000000000000000000000000000000000000000000000000000','sha256:8c23c9bd3e1b3435e5b41cb4b452b97211bfbf75919717868c00c21a356e5b51');
INSERT INTO "audit" VALUES(2,'2013-03-03T09:02:00.000000Z','anna','register','delays/2','{"content":"sha256:ae1d694147e28275b36cd1ec0ab71e2972ce6b2f094697cf9b186e9a506d673b","record":"sha256:72a1843095bc6584360a87ff232d1653b1547a90bcb1356db4afa6c587dd96ab","run":"r1"}','sha256:8c23c9bd3e1b3435e5b41cb4b452b97211bfbf75919717868c00c21a356e5b51','sha256:5e8f0bb473fddf0a31698e4486332b5beae2c28abb0840e381c4eacfddb277a9');
INSERT INTO "audit" VALUES(3,'2013-03-03T09:03:00.000000Z','anna','register','delays/3','{"content":"sha256:ddabe366a55d7d39602d5f60966359eeae66ee190a7637daaaa84d40a3eadd6a","record":"sha256:fa470a4017692d5285fa6dc987c61eab7f06de2027654f75072d69625b4478eb","run":"r1"}','sha256:5e8f0bb473fddf0a31698e4486332b5beae2c28abb0840e381c4eacfddb277a9','sha256:07187ca05fe69d0823888d50345fce142fd68db52442f1b27517c0137107489d');
INSERT INTO "audit" VALUES(4,'2013-03-03T09:04:00.000000Z','anna','promote','delays@production','{"forced":false,"from":0,"promotion":1,"reason":"","record":"sha256:e65c20ec16286f5d25add5972ab0b10d28e482c22846d373d272b65f19da6d42","to":1}','sha256:07187ca05fe69d0823888d50345fce142fd68db52442f1b27517c0137107489d','sha256:0443f31f41d8079583cf48476c319836b2689519b5a838aadd27d1a8f0f9ffcb');
INSERT INTO "audit" VALUES(5,'2013-03-03T09:05:00.000000Z','anna','promote','delays@production','{"forced":false,"from":1,"promotion":2,"reason":"","record":"sha256:a86dfb9fc04f6ffa1669c70639b9eee99bb1a2e79521498efe558703dcbbcd10","to":2}','sha256:0443f31f41d8079583cf48476c319836b2689519b5a838aadd27d1a8f0f9ffcb','sha256:fc9109ff94be636e1d0a58d9b76bb29568f0a1deeff3c424de958af4a2018e0c');
INSERT INTO "audit" VALUES(6,'2013-03-03T09:06:00.000000Z','anna','promote','delays@production','{"forced":false,"from":2,"promotion":3,"reason":"","record":"sha256:fbcd4ad20af64164c752f7cf2015ae053539808372447ba621892450502c5665","to":3}','sha256:fc9109ff94be636e1d0a58d9b76bb29568f0a1deeff3c424de958af4a2018e0c','sha256:b8bd7ba213ea764cf9288418d1387a4b8a6e556927133ac11dab8a258950756c');
INSERT INTO "audit" VALUES(7,'2013-03-03T09:07:00.000000Z','ben','rollback','delays@production','{"forced":false,"from":3,"promotion":4,"reason":"slow","record":"sha256:78b3e15b8ccc967e757cccfd05a8ac4fc5389798fef3bc1b68a779040b6f90d4","to":2}','sha256:b8bd7ba213ea764cf9288418d1387a4b8a6e556927133ac11dab8a258950756c','sha256:eb542989034b646aa6d8c9b26a2690f2da4f32d0d98dbc1a67d0c041901fd9dd');
INSERT INTO "audit" VALUES(8,'2013-03-03T09:08:00.000000Z','anna','deploy','delays/2','{"url":"http://127.0.0.1:1"}','sha256:eb542989034b646aa6d8c9b26a2690f2da4f32d0d98dbc1a67d0c041901fd9dd','sha256:43f1ced43f5d2f9866ba1e2dee007e61f9eaccbe4d907a9c2fefa0efe398c4df');
CREATE TABLE audit_head (
	id INTEGER NOT NULL, 
	rows INTEGER NOT NULL, 
	digest VARCHAR(71) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "audit_head" VALUES(1,8,'sha256:43f1ced43f5d2f9866ba1e2dee007e61f9eaccbe4d907a9c2fefa0efe398c4df');
CREATE TABLE ledger_schema (
	number INTEGER NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "ledger_schema" VALUES(1);
CREATE TABLE model (
	name VARCHAR(64) NOT NULL, 
	last_number INTEGER NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "model" VALUES('delays',3,'2013-03-03T09:01:00.000000Z');
CREATE TABLE promotion (
	id INTEGER NOT NULL, 
	model VARCHAR(64) NOT NULL, 
	alias VARCHAR(64) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	from_number INTEGER NOT NULL, 
	to_number INTEGER NOT NULL, 
	at VARCHAR(27) NOT NULL, 
	"by" TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	verdicts TEXT NOT NULL, 
	forced BOOLEAN NOT NULL, 
	beneath INTEGER, 
	undoes INTEGER, 
	PRIMARY KEY (id), 
	FOREIGN KEY(model, to_number) REFERENCES version (model, number), 
	FOREIGN KEY(model) REFERENCES model (name), 
	FOREIGN KEY(beneath) REFERENCES promotion (id), 
	FOREIGN KEY(undoes) REFERENCES promotion (id)
);
INSERT INTO "promotion" VALUES(1,'delays','production','promote',0,1,'2013-03-03T09:04:00.000000Z','anna','','[{"gate":"auc >= 0.5","limit":0.5,"measured":0.8,"passed":true,"sentence":"auc is 0.8, 0.3 above the limit 0.5."}]',0,NULL,NULL);
INSERT INTO "promotion" VALUES(2,'delays','production','promote',1,2,'2013-03-03T09:05:00.000000Z','anna','','[{"gate":"auc >= 0.5","limit":0.5,"measured":0.8,"passed":true,"sentence":"auc is 0.8, 0.3 above the limit 0.5."}]',0,1,NULL);
INSERT INTO "promotion" VALUES(3,'delays','production','promote',2,3,'2013-03-03T09:06:00.000000Z','anna','','[{"gate":"auc >= 0.5","limit":0.5,"measured":0.8,"passed":true,"sentence":"auc is 0.8, 0.3 above the limit 0.5."}]',0,2,NULL);
INSERT INTO "promotion" VALUES(4,'delays','production','rollback',3,2,'2013-03-03T09:07:00.000000Z','ben','slow','[]',0,NULL,3);
CREATE TABLE version (
	model VARCHAR(64) NOT NULL, 
	number INTEGER NOT NULL, 
	content TEXT NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	created_by TEXT NOT NULL, 
	exporter TEXT NOT NULL, 
	metrics TEXT NOT NULL, 
	lineage TEXT NOT NULL, 
	signature TEXT NOT NULL, 
	parity TEXT NOT NULL, 
	files TEXT NOT NULL, 
	PRIMARY KEY (model, number), 
	UNIQUE (model, content), 
	FOREIGN KEY(model) REFERENCES model (name)
);
INSERT INTO "version" VALUES('delays',1,'sha256:7b7e245f2ec3601c6c593eb3aa9134895d29790f6099249cdb0c170f5b5013c6','2013-03-03T09:01:00.000000Z','anna','onnx','{"auc":0.8}','{"data":[],"environment":"","git_commit":"","git_dirty":false,"notebook":"","notebook_digest":"","parameters":{"depth":3},"run":"r1","stages":{}}','{}','{}','{"model.onnx":"sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb","package.json":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}');
INSERT INTO "version" VALUES('delays',2,'sha256:ae1d694147e28275b36cd1ec0ab71e2972ce6b2f094697cf9b186e9a506d673b','2013-03-03T09:02:00.000000Z','anna','onnx','{"auc":0.8}','{"data":[],"environment":"","git_commit":"","git_dirty":false,"notebook":"","notebook_digest":"","parameters":{"depth":3},"run":"r1","stages":{}}','{}','{}','{"model.onnx":"sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d","package.json":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}');
INSERT INTO "version" VALUES('delays',3,'sha256:ddabe366a55d7d39602d5f60966359eeae66ee190a7637daaaa84d40a3eadd6a','2013-03-03T09:03:00.000000Z','anna','onnx','{"auc":0.8}','{"data":[],"environment":"","git_commit":"","git_dirty":false,"notebook":"","notebook_digest":"","parameters":{"depth":3},"run":"r1","stages":{}}','{}','{}','{"model.onnx":"sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6","package.json":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}');
CREATE INDEX promotion_of_alias ON promotion (model, alias, id);
COMMIT;
